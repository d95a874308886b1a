"""Competitions: their files, and what is submitted to them."""

from typing import TYPE_CHECKING

from tests.helpers.standin.replies import (
    CREATED,
    Json,
    Refused,
    Reply,
    advance,
    listed,
    page,
    zipped,
)

if TYPE_CHECKING:
    from tests.helpers.standin.server import Kaggle

RULES = (
    "You must accept this competition's rules before you'll be able to download files."
)


class Competitions:
    """``competitions.CompetitionApiService``; methods are named as on the wire."""

    def __init__(self, kaggle: "Kaggle"):
        self.kaggle = kaggle

    def ListCompetitions(self, request: Json) -> Json:
        shown = [
            {
                "ref": f"https://www.kaggle.com/competitions/{slug}",
                "title": competition["title"],
                "deadline": "2021-10-01T23:59:00.000Z",
                "category": "Research",
                "userHasEntered": competition["accepted"],
            }
            for slug, competition in sorted(self.kaggle.competitions.items())
            if request.get("search", "") in slug
        ]
        return {"competitions": shown, "nextPageToken": ""}

    def ListDataFiles(self, request: Json) -> Json:
        files, token = page(listed(self._readable(request)["files"]), request)
        return {"files": files, "nextPageToken": token}

    def DownloadDataFiles(self, request: Json) -> Reply:
        data = zipped(self._readable(request)["files"])
        slug = request["competitionName"]
        return self.kaggle.storage.redirect(f"competitions/{slug}/archive.zip", data)

    def DownloadDataFile(self, request: Json) -> Reply:
        competition, name = self._readable(request), request["fileName"]
        if name not in competition["files"]:
            raise Refused(404, "Not Found")
        data = competition["files"][name]
        path = f"competitions/{request['competitionName']}/{name}"
        if name in competition["zipped"]:
            inner = name.rpartition("/")[2]
            path, data = f"{path}.zip", zipped({inner: data})
        return self.kaggle.storage.redirect(path, data)

    def StartSubmissionUpload(self, request: Json) -> Json:
        self._entered(request)
        size = request.get("contentLength", 0)
        return self.kaggle.storage.start(request["fileName"], size)

    def CreateSubmission(self, request: Json) -> Json:
        competition = self._entered(request)
        if competition["code"]:
            raise Refused(
                400,
                "Submission not allowed:  This competition only accepts Submissions "
                "from Notebooks.",
            )
        name, content = self.kaggle.storage.uploaded(request["blobFileTokens"])
        return self._submit(request, name, content)

    def CreateCodeSubmission(self, request: Json) -> Json:
        competition = self._entered(request)
        ref = f"{request.get('kernelOwner')}/{request.get('kernelSlug')}"
        versions = self.kaggle.kernels.get(ref, [])
        number = request.get("kernelVersion") or len(versions)
        if not 0 < number <= len(versions):
            raise Refused(404, f"Notebook {ref} has no version {number}")
        version = versions[number - 1]
        if version["statuses"] or version["status"] != "COMPLETE":
            raise Refused(
                400, "Submission not allowed:  The Notebook did not complete."
            )
        if competition["code"] and version["metadata"].get("enableInternet"):
            raise Refused(
                400,
                "Submission not allowed:  Your Notebook cannot use internet access in "
                "this competition.",
            )
        name = request.get("fileName", "")
        if name not in version["files"]:
            raise Refused(400, f"Could not find file '{name}' in the Notebook's output")
        content = version["files"][name]
        return self._submit(request, name, content, kernel=(ref, number))

    def GetSubmissionLimits(self, request: Json) -> Json:
        competition = self._known(request, 403)
        made = self._valid(request["competitionName"])
        return {
            "numToday": made,
            "numTotal": made,
            "numAllowedNow": max(0, competition["daily_limit"] - made),
        }

    def ListSubmissions(self, request: Json) -> Json:
        self._known(request, 403)
        slug = request["competitionName"]
        own = [s for s in self.kaggle.submissions if s["competition"] == slug]
        shown, token = page([self._polled(s) for s in reversed(own)], request)
        return {"submissions": shown, "nextPageToken": token}

    def GetSubmission(self, request: Json) -> Json:
        for submission in self.kaggle.submissions:
            if submission["ref"] == request.get("ref"):
                return self._polled(submission)
        raise Refused(404, "Not Found")

    def _known(self, request: Json, status: int) -> Json:
        competition = self.kaggle.competitions.get(request["competitionName"])
        if competition is None:
            message = "Permission 'competitions.participate' was denied"
            raise Refused(status, message if status == 403 else "Not Found")
        return competition

    def _readable(self, request: Json) -> Json:
        competition = self._known(request, 403)
        if not competition["accepted"]:
            raise Refused(403, RULES)
        return competition

    def _entered(self, request: Json) -> Json:
        competition = self._known(request, 404)
        if not competition["accepted"]:
            raise Refused(400, "You must accept this competition's rules to submit.")
        return competition

    def _valid(self, slug: str) -> int:
        return sum(
            s["competition"] == slug and s["status"] != "ERROR"
            for s in self.kaggle.submissions
        )

    def _submit(
        self,
        request: Json,
        name: str,
        content: bytes,
        kernel: tuple[str, int] | None = None,
    ) -> Json:
        slug = request["competitionName"]
        competition = self.kaggle.competitions[slug]
        limit = competition["daily_limit"]
        if self._valid(slug) >= limit:
            raise Refused(
                400,
                "Submission not allowed:  Your team has used its daily Submission "
                f"allowance ({limit}) today, please try again tomorrow UTC.",
            )
        ref = 40_000_001 + len(self.kaggle.submissions)
        self.kaggle.submissions.append(
            {
                "ref": ref,
                "competition": slug,
                "fileName": name,
                "description": request.get("submissionDescription", ""),
                "date": CREATED,
                "content": content,
                "kernel": kernel,
                "status": "PENDING",
                "statuses": list(self.kaggle.submission_statuses),
                "publicScore": "",
                "privateScore": "",
                "errorDescription": "",
            }
        )
        return {
            "message": f"Successfully submitted to {competition['title']}",
            "ref": ref,
        }

    def _polled(self, submission: Json) -> Json:
        scored = "COMPLETE" == submission["status"]
        if advance(submission) == "COMPLETE" and not scored:
            self._score(submission)
        hidden = ("competition", "content", "kernel", "statuses")
        return {key: submission[key] for key in submission if key not in hidden}

    def _score(self, submission: Json) -> None:
        scores = self.kaggle.competitions[submission["competition"]]["scores"]
        try:
            public, private = (
                scores(submission["content"]) if callable(scores) else scores
            )
        except ValueError as error:  # the submission's fault, says the scorer
            submission |= {"status": "ERROR", "errorDescription": str(error)}
        else:
            submission |= {"publicScore": str(public), "privateScore": str(private)}
