"""The control panel: a process of its own beside the kernel's, for a browser on the same machine. Extra `ocap[panel]`.

It reads the database over its own read-only connection and changes things over the control socket, so that
drawing a page takes no time from the kernel. `access` decides who may ask, `reading` what there is, `live` what
happens now, `actions` what can be done, `app` puts pages together, `serving` is the process.
"""

from ocap.extras import need

need("panel", "hypercorn", "jinja2", "starlette", "tomli_w")
