"""HTTP faces: neutral requests in, neutral responses out. No sockets and no stores here."""
