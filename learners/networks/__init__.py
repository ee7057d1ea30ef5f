"""Networks: torsos, recurrent cores, and the agent with its policy and value heads."""
