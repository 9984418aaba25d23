"""Agents that decide, and whether they are as sure as they may be."""
