"""A kernel as a process of its own, and the socket that others control it by.

`protocol` is the language, without IO; `place` where the socket lies and who may use it; `tap` shows
live traffic at a bounded cost; `commands` is what can be asked; `server` and `client` are the two ends;
`process` is the daemon itself, `starting` how one is started and stopped.
"""
