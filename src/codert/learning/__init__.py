"""Who learns from whom (the plan), and the one trainer that runs any plan."""
