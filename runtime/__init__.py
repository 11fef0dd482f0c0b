"""What every process of the gateway needs and none of them owns: settings, ids, the error catalogue, logs, ops."""
