"""Ready-made kernel services: what a host program may `provide` to vats, and what `ocap run` provides.

A service is the authority itself, so each is as narrow as its constructor makes it.
"""

from ocap.services.clock import Clock, VirtualClock
from ocap.services.http import Http
from ocap.services.kernel import KernelFacet
from ocap.services.log import Log
from ocap.services.random import Random
from ocap.services.standard import TIMER

__all__ = ["TIMER", "Clock", "Http", "KernelFacet", "Log", "Random", "VirtualClock"]
