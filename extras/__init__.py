"""Beyond the three scripts: one picture, page, report or film each."""
