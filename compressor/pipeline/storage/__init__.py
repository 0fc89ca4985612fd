"""Where finished outputs lie: the store that runs share, and the record of each run folder."""
