"""Sections as one HTML page and as Markdown, by templates that escape whatever they are given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.reporting.parts import Panel, Section

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def render_html(title: str, top: Sequence[Panel], sections: Sequence[Section]) -> str:
    """Return the page: self-contained, without scripts.

    Args:
        title: Its title.
        top: Panels before all sections.
        sections: One an ensemble.
    """
    from markupsafe import Markup

    environment = _environment(autoescape=True)
    # Figures are elements that `plotting` has made; nothing else is taken as it is.
    environment.filters["element"] = Markup
    template = environment.get_template("report.html.j2")
    page: str = template.render(title=title, top=top, sections=sections)
    return page


def render_markdown(template: str, **values: object) -> str:
    """Return Markdown made by a template.

    Args:
        template: Its file.
        **values: What it shows.
    """
    environment = _environment(autoescape=False)
    environment.filters |= {"literal": escape_markdown, "fenced": _fenced}
    text: str = environment.get_template(template).render(**values)
    return text


def escape_markdown(text: str) -> str:
    r"""Return text of one line that Markdown shows as it is.

    Examples:
        >>> escape_markdown("a|b <i>")
        'a\\|b \\<i\\>'
    """
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _environment(*, autoescape: bool) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("yt8m_ensemble.reporting"),
        autoescape=autoescape,  # noqa: S701 - Markdown is escaped by a filter of its own
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
