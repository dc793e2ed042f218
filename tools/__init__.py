"""Programs for the development of this repository. No part of them is installed."""
