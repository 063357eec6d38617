"""What both sides of the wall agree on: references, data, deliveries, syscalls.

Everything here is synchronous and free of IO: no trio, no apsw, no clock. The kernel side
(`ocap`) and the vat side (`vats`) both import it, and neither imports the other's layers.
"""
