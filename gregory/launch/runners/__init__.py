"""One module per place a run can go; `gregory.launch.submit` maps names to them."""
