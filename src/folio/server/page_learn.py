"""Routes of the page on which one learns: the lecture, its quizzes, and rungs of the ladder that are predicted and trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from folio.errors import UserError
from folio.files import WriteError, read_lines
from folio.lecture.ladder import LADDER
from folio.lecture.progress import Progress, Tries, progress_file, seed_of
from folio.lecture.quiz import Asked, Chosen, Computed, Options, Question, Quiz, load_quiz, page_names
from folio.report.ladder import RESULTS, is_result
from folio.report.quiz_answers import answer_from
from folio.runs.directory import RunDirectory
from folio.server.body import read_json_object
from folio.server.errors import ApiError
from folio.server.lessons import CONTENTS, lesson, lesson_names, pictures, title_of_page
from folio.server.page_fields import read, string, whole
from folio.server.page_runs import runs_of
from folio.server.page_training import trainings_of

ANSWER = {"page": string, "question": string, "typed": string, "tries": whole, "run": string}
RUNG = {"rung": string}
DIGITS = 4


def routes() -> list[Route]:
    """Return the routes, for `create_app`."""
    return [
        Route("/page/api/lessons", lessons),
        Route("/page/api/lessons/pictures/{name}", picture),
        Route("/page/api/lessons/{name}", one_lesson),
        Route("/page/api/quiz", answer, methods=["POST"]),
        Route("/page/api/ladder/{rung}", rung),
        Route("/page/api/ladder", train_rung, methods=["POST"]),
    ]


def progress_of(request: Request) -> Progress:
    """Return the progress, which `folio quiz` keeps in the same file."""
    state = request.app.state
    if not hasattr(state, "progress"):
        state.progress = Progress(progress_file())
    progress: Progress = state.progress
    return progress


async def lessons(request: Request) -> Response:
    """Answer with the pages, and how far the reader is on each."""
    return JSONResponse(await run_in_threadpool(all_lessons, progress_of(request)))


def all_lessons(progress: Progress) -> dict[str, Any]:
    """Return the pages in their order, and the page of contents."""
    quizzes = {name: load_quiz(name) for name in page_names()}
    rows = []
    for name in lesson_names():
        tries = progress.of(name) if name in quizzes else {}
        known = [tries[each.id] for each in questions_of(quizzes.get(name)) if each.id in tries]
        rows.append(
            {
                "name": name,
                "title": title_of_page(name),
                "questions": len(questions_of(quizzes.get(name))),
                "right": sum(not each.is_missed for each in known),
                "missed": sum(each.is_missed for each in known),
            }
        )
    return {"lessons": rows, "contents": lesson(CONTENTS).html}


def questions_of(quiz: Quiz | None) -> tuple[Question, ...]:
    """Return the questions of a quiz, none where there is none."""
    return () if quiz is None else tuple(quiz.questions)


async def picture(request: Request) -> Response:
    """Answer with a picture of the lecture."""
    content = pictures().get(request.path_params["name"])
    if content is None:
        raise ApiError(404, "There is no such picture.", "name")
    return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=3600"})


async def one_lesson(request: Request) -> Response:
    """Answer with a page and its questions. Query: run, of which some of them ask; by default the newest finished one."""
    name = request.path_params["name"]
    if name not in lesson_names():
        raise ApiError(404, f"There is no page {name[:80]!r} in the lecture.", "name")
    return JSONResponse(await run_in_threadpool(told, request, name, request.query_params.get("run") or None))


def told(request: Request, name: str, run: str | None) -> dict[str, Any]:
    """Return a page, its questions, and the runs that they may be about."""
    page, quiz = lesson(name), load_quiz(name) if name in page_names() else None
    finished = finished_runs(request)
    chosen = run if run in finished else next(iter(finished), None)
    tries = progress_of(request).of(name) if quiz else {}
    names = lesson_names()
    at = names.index(name)
    return {
        "name": name,
        "title": page.title,
        "html": page.html,
        "rung": page.rung,
        "before": names[at - 1] if at else None,
        "after": names[at + 1] if at + 1 < len(names) else None,
        "runs": list(finished),
        "run": chosen,
        "questions": [
            to_table(each, tries, finished.get(chosen) if chosen else None) for each in questions_of(quiz)
        ],
    }


def to_table(question: Question, tries: Mapping[str, Tries], run: Path | None) -> dict[str, Any]:
    """Return a question for the page, without its answer. `closed` says why it cannot be asked."""
    known = tries.get(question.id)
    table = {
        "id": question.id,
        "question": question.question,
        "tries": known.answered if known else 0,
        "is_missed": bool(known and known.is_missed),
        "is_right": bool(known and not known.is_missed),
        "is_own": question.needs_run,
        "options": [],
        "given": "",
        "closed": None,
    }
    try:
        asked = asked_of(question, tries, run)
        return table | {"options": list(asked.options), "given": asked.given}
    except UserError as error:
        return table | {"closed": str(error)}


def asked_of(question: Question, tries: Mapping[str, Tries], run: Path | None) -> Asked:
    """Return a question ready to be asked. Raises UserError where it is about a run, and there is none that it fits."""
    return question.ask(partial(computed, run, question), seed_of(question, tries))


def computed(run: Path | None, question: Question, formula: str) -> Computed | Chosen:
    """Return the answer to a question about a run. Raises UserError if there is no run."""
    if run is None:
        raise UserError("this question is about a model of your own, and no training is finished yet.")
    return answer_from(run, question, formula)


def finished_runs(request: Request) -> dict[str, Path]:
    """Return the finished runs of pretraining by id, the newest first."""
    found: list[tuple[float, str, Path]] = []
    for id, run in runs_of(request).all().items():
        try:
            info = run.read_info()
            if (info["stage"], info["status"]) == ("pretrain", "finished"):
                found.append((run.info_file.stat().st_mtime, id, run.path))
        except (UserError, OSError):
            continue
    return {id: path for _, id, path in sorted(found, reverse=True)}


async def answer(request: Request) -> Response:
    """Judge an answer, and keep whether it is right.

    Body: page, question, typed, tries, how often it had been answered when it was asked; maybe run.
    """
    body = read(await read_json_object(request), ANSWER, ("page", "question", "typed", "tries"))
    return JSONResponse(await run_in_threadpool(judged, request, body))


def judged(request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on an answer, and the reason for each choice."""
    name = body["page"]
    if name not in page_names():
        raise ApiError(404, f"There is no quiz on {name[:80]!r}.", "page")
    question = next((each for each in load_quiz(name).questions if each.id == body["question"]), None)
    if question is None:
        raise ApiError(404, f"{name} has no question {body['question'][:80]!r}.", "question")
    shown = (
        {question.id: Tries(answered=max(1, body["tries"]), right=0, is_missed=False)}
        if body["tries"]
        else {}
    )
    asked = asked_of(question, shown, finished_runs(request).get(body.get("run", "")))
    try:
        verdict = asked.judge(body["typed"])
    except ValueError as error:
        raise ApiError(400, f"{error}.".capitalize(), "typed") from None
    problem = None
    try:
        progress_of(request).add(name, question.id, verdict.is_right)
    except WriteError as error:
        problem = f"{error} This answer is not kept."
    return {
        "is_right": verdict.is_right,
        "words": verdict.words,
        "right": asked.order.index(asked.right) if isinstance(asked, Options) else None,
        "reasons": [each.words for each in asked.order] if isinstance(asked, Options) else [],
        "problem": problem,
    }


async def rung(request: Request) -> Response:
    """Answer with what was trained of a rung, and the training of it that runs."""
    name = known_rung(request.path_params["rung"])
    return JSONResponse(await run_in_threadpool(results_of, request, name))


def results_of(request: Request, name: str) -> dict[str, Any]:
    """Return the results of a rung in all ladders, the newest last, and how its training stands."""
    results = []
    for id, run in runs_of(request).all().items():
        for line in read_lines(run.path / RESULTS, is_result):
            if line["rung"] == name:
                results.append({"run": id, **line, "val_loss": round(line["val_loss"], DIGITS)})
    try:
        processes = trainings_of(request).processes
    except ApiError as error:
        return {"results": results, "process": None, "allowed": False, "why": error.message}
    process = next(
        (processes.told(each) for each in processes.all() if each.name == process_name(name)), None
    )
    return {"results": results, "process": process, "allowed": True, "why": None}


async def train_rung(request: Request) -> Response:
    """Train a rung. Body: rung."""
    name = known_rung(read(await read_json_object(request), RUNG, ("rung",))["rung"])
    trainings = trainings_of(request)

    def start() -> None:
        run, more = place_for(trainings.runs.resolve(), name)
        trainings.processes.start(process_name(name), ["ladder", "--rungs", name, "--run", str(run), *more])

    await run_in_threadpool(start)
    return JSONResponse({"rung": name})


def known_rung(name: str) -> str:
    """Return the name of a rung. Raises ApiError (404) for another one."""
    if name not in LADDER:
        raise ApiError(404, f"The ladder has no rung {name[:80]!r}.", "rung")
    return name


def process_name(rung: str) -> str:
    """Return the name of the process that trains a rung."""
    return f"ladder-{rung.replace('_', '-')}"


def place_for(runs: Path, rung: str) -> tuple[Path, list[str]]:
    """Return the directory for the next training of a rung, and the flags to go on with one that was stopped."""
    number = 1
    while True:
        run = RunDirectory(runs / (process_name(rung) + (f"-{number}" if number > 1 else "")))
        if not run.exists:
            return run.path, []
        if run.read_info()["status"] != "finished":
            return run.path, ["--resume"]
        number += 1
