"""An e-invoice integrator: Nilvera's REST, as far as this project asks it."""
