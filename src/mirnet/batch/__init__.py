"""Many images: discovery, planning, jobs, limits, watching, reports, and the Ray backend."""
