"""What tests share: servers, programs, and views of what was told."""
