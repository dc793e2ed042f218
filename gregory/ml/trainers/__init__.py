"""One module per algorithm behind the contract in `base`; `gregory.ml.registry` maps names to them."""
