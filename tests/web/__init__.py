"""Tests of the operator pages."""
