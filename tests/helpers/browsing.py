"""What a person does with the page of the app."""


def ask(page, *files):
    """Upload files; the text of the page once each has an answer or a message."""
    page.locator("input[type=file]").first.set_input_files([str(f) for f in files])
    done = page.locator('[data-testid="stExpander"]:has-text("Why"), [role="alert"]')
    done.nth(len(files) - 1).wait_for(timeout=60_000)
    quiet(page)
    return page.locator('[data-testid="stMain"]').inner_text()


def quiet(page):
    """Wait until the page is drawn."""
    page.wait_for_function(
        "!document.querySelector('[data-testid=stStatusWidget],[data-testid=stSpinner]')"
        " && [...document.images].every(image => image.complete)",
        timeout=60_000,
    )
    page.wait_for_timeout(300)
