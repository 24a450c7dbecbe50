"""What tests share: servers, programs, and collected telemetry."""
