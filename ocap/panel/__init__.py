"""The control panel: a process of its own beside the kernel's, for a browser on the same machine. Extra `ocap[panel]`.

It reads the database over its own read-only connection and changes things over the control socket, so that
drawing a page takes no time from the kernel. `access` decides who may ask, `reading` what there is, `live` what
happens now, `actions` what can be done, `app` puts pages together, `serving` is the process.
"""

from ocap.extras import extra

with extra("panel"):
    import hypercorn as _hypercorn  # noqa: F401
    import jinja2 as _jinja2  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import tomli_w as _tomli_w  # noqa: F401
