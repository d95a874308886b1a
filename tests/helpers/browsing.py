"""Actions of a user on the page of the app."""


def upload_files(page, *files):
    """Upload files, wait for an answer or an error for each, and return the page's text."""
    page.locator("input[type=file]").first.set_input_files([str(f) for f in files])
    results = page.locator('[data-testid="stExpander"]:has-text("Why"), [role="alert"]')
    results.nth(len(files) - 1).wait_for(timeout=60_000)
    wait_until_drawn(page)
    return page.locator('[data-testid="stMain"]').inner_text()


def wait_until_drawn(page):
    """Wait until the page is complete."""
    page.wait_for_function(
        "!document.querySelector('[data-testid=stStatusWidget],[data-testid=stSpinner]')"
        " && [...document.images].every(image => image.complete)",
        timeout=60_000,
    )
    page.wait_for_timeout(300)
