"""What the dashboards are made of: queries, colours, panels, tables, and the page."""
