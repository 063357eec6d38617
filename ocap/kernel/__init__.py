"""The kernel core: a synchronous state machine without IO.

`core.Core` is the whole of it to the outside: it picks the next piece of work, says what to
deliver to which vat, and applies what the vat did, or undoes it. It owns no task, clock, socket
or file; `store` keeps its rows and `ring` drives it.
"""
