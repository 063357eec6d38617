"""The command line. Needs the extra `ocap[cli]`.

Exit codes of every command: 0 all is well; 1 something the command was asked about is not (a
launch failed, an invariant is broken); 2 the command could not do its work at all.
"""

from ocap.extras import need

need("cli", "cyclopts", "rich")
