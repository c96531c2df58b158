"""Simulated topics with a known truth: the same seed gives the same bytes.

What is simulated is named so: ids begin with `sim<seed>-`.
"""

from neonblue_lab.events.simulator.simulation import Simulation, simulate

__all__ = ["Simulation", "simulate"]
