"""How Sphinx makes the site of the pages in docs/: `make site`.

A page's links are written for GitHub, relative to its file. In the site, a link to
another page leads to that page, and one to any other file of the repository to GitHub.
"""

from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.logging import getLogger

REPOSITORY = "https://github.com/huey-otel/huey-otel"

project = "huey-otel"
author = "huey-otel contributors"
version = release = installed("huey-otel")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["proof", "upstream", "_build", "*.py"]

# GitHub gives each heading an anchor likewise.
myst_heading_anchors = 4

# What a docstring has in `single` marks.
default_role = "code"

# A block without a language is what a terminal shows.
highlight_language = "none"

nitpicky = True
# Names of other packages: looking them up would need the network.
nitpick_ignore_regex = [("py:class", r"(?!huey_otel\.).*")]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"huey-otel {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "source_repository": f"{REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}

_log = getLogger(__name__)


class LinksToTheRepository(SphinxTransform):
    """Links to files that are no pages lead to GitHub."""

    # After the parser, and before Sphinx copies what can be downloaded.
    default_priority = 5

    def apply(self) -> None:
        """Replace what MyST has made of such links."""
        for link in [*self.document.findall(addnodes.download_reference)]:
            self._lead(link, self._here / link["reftarget"])
        for link in [*self.document.findall(addnodes.pending_xref)]:
            if link.get("reftype") != "myst":
                continue
            target = link["reftarget"]
            if link["refdomain"] != "doc":
                self._lead(link, self._here / target)
            elif target not in self.env.found_docs:
                self._lead(link, self.env.srcdir / f"{target}.md")

    @property
    def _here(self) -> Path:
        return (self.env.srcdir / self.env.docname).parent

    def _lead(self, link: nodes.Element, path: Path) -> None:
        """Lead to *path* on GitHub; what does not exist is left to Sphinx' warning."""
        path, root = path.resolve(), Path(self.env.srcdir).resolve().parent
        if not path.exists() or not path.is_relative_to(root):
            return
        kind = "tree" if path.is_dir() else "blob"
        url = f"{REPOSITORY}/{kind}/main/{path.relative_to(root)}"
        anchor = link.get("reftargetid")
        found = nodes.reference(refuri=f"{url}#{anchor}" if anchor else url)
        found += link.children
        link.replace_self(found)


def without_options(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Leave out the list of options that `help()` shows: settings.md has it."""
    if name == "huey_otel.instrument":
        del lines[lines.index("Options:") :]


def short(
    app: Sphinx, what: str, name: str, *_: object
) -> tuple[str, str | None] | None:
    """Leave out settings here, too, and constructors that users do not call."""
    return {
        "huey_otel.instrument": ("(huey: Huey, **settings)", "Instrumentation"),
        "huey_otel.Instrumentation": ("", None),
        "huey_otel.testing.Telemetry": ("", None),
    }.get(name)


def setup(app: Sphinx) -> None:
    """Make Sphinx know of the above."""
    app.add_transform(LinksToTheRepository)
    app.connect("autodoc-process-docstring", without_options)
    app.connect("autodoc-process-signature", short)
