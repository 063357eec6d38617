"""The vats that are measured. Drivers ask, peers answer; what comes back is checked by the cases."""
