"""A film's report: one HTML file with player, timelines and tables that needs no network.

The page is `report.html`, `report.css` and `report.js` of this folder, filled in. Its content
security policy names the digests of its own style and program and forbids everything remote.
Whatever comes from files (names, columns, emotions, warnings) goes in as text.
"""

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs import __version__, facs
from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.views import course as courses
from jaxfacs.infer.views import origin as origins
from jaxfacs.infer.views import reasons, report_film
from jaxfacs.infer.views.course import Course, Face, Segment, Values
from jaxfacs.infer.views.overlay import regions
from jaxfacs.infer.views.plots import MEASURES, NEUTRAL, counted, emotion_colours
from jaxfacs.infer.views.report_film import Embed, Shown

MOST_FACES = 6
MOST_SEGMENTS = 400  # in the table of one face
TOP = 5
_MOST_BYTES = 6_000_000  # of values, before base64
_FEWEST_BINS, _MOST_BINS = 500, 40_000
_NONE, _FULL = 255, 254  # a byte: unknown; the highest value
_SCROLL = "<div class='scroll' tabindex='0' role='region' aria-label='table'>"
CAVEAT = (
    "Action Units are movements that a network saw, with the probabilities given. An emotion here "
    "is what a table or a classifier calls a pattern of movements; what a person feels cannot be "
    "read off it."
)


def write(
    table_path: str | Path,
    film_path: str | Path | None,
    out_html: str | Path,
    *,
    embed: Embed = "auto",
) -> Path:
    """Writes the report of one table; returns its path.

    Short films are there frame by frame. Of long ones the lowest, highest and mean values of runs
    of frames are kept, so that the values take at most 6 MB; the page then says how many frames a
    point stands for. NAME.json beside the table gives warnings, thresholds and, where an emotion
    mapper is in it, the AUs that spoke for and against each emotion.

    Args:
      table_path: a table as `jaxfacs.infer.tables.read` takes it.
      film_path: its film or picture; None: timelines and tables alone.
      out_html: written whole or not at all.
      embed: "auto" puts films that browsers play into the page up to 25 MB and links longer ones by
        their relative path; others (MPEG-4 part 2, AVI) are put in as a small VP8 copy, without
        sound. "always" has no limit, "never" always links.

    Raises:
      UserError: no table, no film, no room.
    """
    table_path, out = Path(table_path), Path(out_html)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} does not end in .html; give --out such a name")
    origin = origins.beside(table_path)
    thresholds = origins.thresholds(origin)
    course = courses.read(table_path, bins=_bins, most_faces=MOST_FACES, thresholds=thresholds)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent} cannot be a folder ({error.strerror})") from error
    film = report_film.shown(film_path, out, embed=embed)
    page = _page(course, origin, thresholds, film, table_path)
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def _bins(values: Values, faces: int) -> int:
    cells = 5 * len(values.aus) + len(values.emotions) + 2 + 16 + 1
    return min(_MOST_BINS, max(_FEWEST_BINS, _MOST_BYTES // (cells * max(1, faces))))


def _page(
    course: Course,
    origin: Mapping[str, Any],
    thresholds: Mapping[str, float],
    film: Shown,
    table_path: Path,
) -> str:
    files = resources.files("jaxfacs.infer.views")
    text = {
        kind: files.joinpath(f"report.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    }
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_digest(text['js'])}",
            f"style-src {_digest(text['css'])}",
            "img-src data:",
            # A film beside the page is the page's own neighbour, from a folder or a server.
            "media-src data:" + (" 'self' file:" if film.linked else ""),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    told = _data(course, origin, thresholds, film)
    parts = {
        "policy": policy,
        "title": _escape(table_path.stem),
        "style": text["css"],
        "program": text["js"],
        "facts": _escape(_facts(course, table_path)),
        "warnings": _warnings(origins.warnings(origin)),
        "film": film.markup,
        "film_note": film.note,
        "binned": _binned(course),
        "measure": MEASURES[course.measure],
        "faces": "\n".join(_face_tables(course, n) for n in range(len(course.faces)))
        or "<p class='absent'>No frame of this table has a face.</p>",
        "caveat": _escape(CAVEAT),
        "origin": _escape(_origin(origin)),
        # "<" is the one sign that could end the block; JSON may write it as a number.
        "data": json.dumps(told, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text["html"])


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _data(
    course: Course,
    origin: Mapping[str, Any],
    thresholds: Mapping[str, float],
    film: Shown,
) -> dict[str, Any]:
    """What the program draws: a row of bytes for each AU, emotion and bin, base64."""
    values = course.values
    why = reasons.find(course, origins.mapper(origin), own=origins.own_emotions(origin))
    return {
        "timed": course.timed,
        "bins": len(course.frame_B),
        "frames": course.frames,
        "start": _packed(course.start_s_B.astype("<f8")),
        "frame": _packed(course.frame_B.astype("<i4")),
        "end": course.end_s,
        "offset": film.offset_s,
        "size": film.size,
        "aus": [_au(label, thresholds) for label in values.aus],
        "emotions": list(values.emotions),
        # Neutral is the page's own grey, in light and in dark.
        "colours": [None if c == NEUTRAL else c for c in emotion_colours(values.emotions)],
        "no_reasons": why.note,
        "faces": [_face(course, n, why.of_face[n]) for n in range(len(course.faces))],
    }


def _au(label: str, thresholds: Mapping[str, float]) -> dict[str, Any]:
    unit = facs.ACTION_UNITS.get(facs.split_label(label)[1])
    return {
        "label": label,
        "name": _named(label),
        "region": unit.region if unit else "",
        "threshold": thresholds.get(label),
        "ellipses": [[round(v, 3) for v in ellipse] for ellipse in regions(label)],
    }


def _named(label: str) -> str:
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    word = {"L": ", left", "R": ", right"}.get(side, "")
    return f"{unit.name.lower()}{word}" if unit else ""


def _face(course: Course, n: int, why: dict[str, Any] | None) -> dict[str, Any]:
    face, values = course.faces[n], course.values
    mean_BK = face.mean_BK
    at = {au: a for a, au in enumerate(values.aus)}
    told: dict[str, Any] = {
        "id": face.face_id,
        "frames": face.frames,
        "rows": _packed(np.minimum(face.rows_B, 255).astype("u1")),
        "p": _bytes(mean_BK[:, values.p]),
        "c": _bytes(mean_BK[:, values.c]),
        "e": _bytes(mean_BK[:, values.emotion]),
        "segments": [
            [at[s.au], round(s.onset_s, 3), round(s.apex_s, 3), round(s.offset_s, 3)]
            for s in face.segments
        ],
        "occurs": (face.present_A > 0).tolist(),
        "why": why,
    }
    if not course.every_frame:
        told["low"] = _bytes(face.low_BK[:, values.p])
        told["high"] = _bytes(face.high_BK[:, values.p])
    if not np.isnan(mean_BK[:, values.r]).all():
        told["r"] = _bytes(mean_BK[:, values.r] / 5)
    if not np.isnan(mean_BK[:, values.affect]).all():
        told["va"] = _bytes((mean_BK[:, values.affect] + 1) / 2)
    if not np.isnan(mean_BK[:, values.box]).all():
        told["box"] = _packed(np.ascontiguousarray(mean_BK[:, values.box], "<f4"))
    return told


def _bytes(values_BV: np.ndarray) -> str:
    """0-1 as 0-254, unknown as 255, one value's bins after another's."""
    known_BV = ~np.isnan(values_BV)
    level_BV = np.clip(np.nan_to_num(values_BV), 0, 1) * _FULL
    return _packed(np.where(known_BV, np.round(level_BV), _NONE).astype("u1").T)


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _facts(course: Course, table_path: Path) -> str:
    length_s = course.end_s - float(course.start_s_B[0])
    length = f"{duration(length_s)}, " if course.timed else ""
    faces = counted(course.num_faces, "face")
    more = course.num_faces - len(course.faces)
    left = f" (the {len(course.faces)} of the most frames are shown)" if more > 0 else ""
    return (
        f"{table_path.name}: {length}{counted(course.frames, 'frame')}, "
        f"{course.frames_with_face} with a face, {faces}{left}"
    )


def _warnings(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    shown = [f"<li>{_escape(text)}</li>" for text in texts[:20]]
    if len(texts) > 20:
        shown.append(f"<li>and {len(texts) - 20} more</li>")
    return f'<div class="warn" role="note"><ul>{"".join(shown)}</ul></div>'


def _binned(course: Course) -> str:
    if course.every_frame:
        return ""
    step = course.frames / len(course.frame_B)
    return (
        f'<p class="note">A long film: a point stands for {step:.1f} frames; the dark line is '
        "their mean, the light area runs from the lowest to the highest.</p>"
    )


def _origin(origin: Mapping[str, Any]) -> str:
    model = origin.get("model")
    name = model.get("file") if isinstance(model, Mapping) else None
    made = f"Read by {name}. " if name else ""
    return f"{made}Report by jaxfacs {__version__}."


def duration(seconds: float) -> str:
    """ "11.1 s", "12 min 3 s", "2 h 0 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def clock(course: Course, time: float) -> str:
    """A time for the tables: minutes and seconds, or the frame's number."""
    if not course.timed:
        return f"frame {time:.0f}"
    minutes, seconds = divmod(round(time, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    start = f"{hours}:{minutes:02d}" if course.end_s >= 3600 else f"{minutes}"
    return f"{start}:{seconds:05.2f}"


def _face_tables(course: Course, n: int) -> str:
    face = course.faces[n]
    hidden = " hidden" if n else ""  # the first is chosen; without a program the others stay shut
    title = f"Face {face.face_id}" if len(course.faces) > 1 else "Summary"
    emotions = _emotion_table(course, face) if course.values.emotions else ""
    return (
        f'<section data-face="{n}"{hidden} aria-label="{_escape(title)}"><h2>{title}: '
        f'{counted(face.frames, "frame")}</h2>{_top(course, face)}<div class="tables"><div>'
        f"{_au_table(course, face)}{emotions}</div><div>{_segment_table(course, face)}</div>"
        "</div></section>"
    )


def _jump(course: Course, time: float) -> str:
    if np.isnan(time):
        return "–"
    text = clock(course, time)
    return (
        f'<button type="button" class="jump" data-seek="{time:.4f}" '
        f'aria-label="go to {text}">{text}</button>'
    )


def _top(course: Course, face: Face) -> str:
    """The AUs of the longest time; of sides only where the whole is not coded."""
    aus = course.values.aus
    whole = [a for a, au in enumerate(aus) if au[0] not in "LR" or au[1:] not in aus]
    there = sorted(
        (a for a in whole if face.present_A[a] > 0),
        key=lambda a: (-face.present_A[a], -np.nan_to_num(face.intensity_A[a])),
    )
    items = [
        f"<li><b>{_escape(aus[a])}</b> {_escape(_named(aus[a]))}, "
        f"{100 * face.present_A[a]:.0f} % of the time{_strength(face.intensity_A[a])}</li>"
        for a in there[:TOP]
    ]
    return f"<ol class='top'>{''.join(items)}</ol>" if items else "<p>No AU was present.</p>"


def _strength(mean: float) -> str:
    return "" if np.isnan(mean) else f", intensity {mean:.1f}"


def _au_table(course: Course, face: Face) -> str:
    """Every AU that occurs, the longest first."""
    order = np.lexsort((-np.nan_to_num(face.intensity_A), -np.nan_to_num(face.present_A)))
    aus = course.values.aus
    rows = [
        f"<tr><td>{_escape(aus[a])}</td><td class='name'>{_escape(_named(aus[a]))}</td>"
        f'<td class="n">{100 * face.present_A[a]:.1f} %</td>'
        f'<td class="n">{_number(face.intensity_A[a])}</td>'
        f'<td class="n">{_jump(course, float(face.peak_s_A[a]))}</td></tr>'
        for a in order.tolist()
        if face.present_A[a] > 0
    ]
    never = [au for au, share in zip(aus, face.present_A, strict=True) if not share > 0]
    note = f"<p class='note'>Not seen: {_escape(', '.join(never))}</p>" if never else ""
    return (
        f"<h3>Action Units</h3>{_SCROLL}<table><caption>share of the "
        "face's frames; mean intensity (0–5) while present; the moment of its peak</caption>"
        "<thead><tr><th>AU</th><th>name</th><th class='n'>present</th><th class='n'>intensity</th>"
        f"<th class='n'>peak</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _emotion_table(course: Course, face: Face) -> str:
    score_BE = face.mean_BK[:, course.values.emotion]
    known_B = np.asarray(~np.isnan(score_BE).any(axis=1))
    weight_B = face.rows_B[known_B]
    likeliest_B = score_BE[known_B].argmax(axis=1) if known_B.any() else np.zeros(0, int)
    count = len(course.values.emotions)
    share_E = np.bincount(likeliest_B, weight_B, count) / max(1, weight_B.sum())
    rows = [
        f'<tr><td class="name">{_escape(course.values.emotions[e])}</td>'
        f'<td class="n">{100 * share_E[e]:.1f} %</td>'
        f'<td class="n">{np.nan_to_num(face.emotion_E[e]):.3f}</td></tr>'
        for e in np.argsort(-share_E, kind="stable").tolist()
    ]
    return (
        f"<h3>Emotions</h3>{_SCROLL}<table><thead><tr><th>emotion</th>"
        "<th class='n'>likeliest in</th><th class='n'>mean</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _longest(segments: Sequence[Segment], most: int) -> list[Segment]:
    """The longest and strongest of each AU, as many of one as of another, in order of onset."""
    longest = sorted(segments, key=lambda s: -(s.offset_s - s.onset_s) * max(s.level, 0.1))
    rank: Counter[str] = Counter()
    ranked = []
    for segment in longest:
        ranked.append((rank[segment.au], segment))
        rank[segment.au] += 1
    ranked.sort(key=lambda item: item[0])  # keeps the order among those of one rank
    return sorted((s for _, s in ranked[:most]), key=lambda s: (s.onset_s, s.au))


def _segment_table(course: Course, face: Face) -> str:
    kept = _longest(face.segments, MOST_SEGMENTS)
    rows = [
        f"<tr><td>{_escape(s.au)}</td><td class='n'>{'' if s.begins else '≤ '}"
        f"{_jump(course, s.onset_s)}</td><td class='n'>{_jump(course, s.apex_s)}</td>"
        f"<td class='n'>{'' if s.ends else '≥ '}{_jump(course, s.offset_s)}</td>"
        f"<td class='n'>{s.level:.1f}</td></tr>"
        for s in kept
    ]
    left = face.num_segments - len(kept)
    note = f"; the {len(kept)} longest and strongest of {face.num_segments}" if left > 0 else ""
    return (
        f"<h3>Onset, apex, offset</h3>{_SCROLL}<table><caption>≤ and ≥: "
        f"the face came or went meanwhile{note}</caption><thead><tr><th>AU</th>"
        "<th class='n'>onset</th><th class='n'>apex</th><th class='n'>offset</th>"
        f"<th class='n'>level</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
