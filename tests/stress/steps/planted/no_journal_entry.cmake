# As if calls had an entry in the journal only once they have begun: at a worker's death those behind are forgotten.
set(source core/dispatch/workers.cc)
set(right [[{ lose(index, entry, death, number < started); });]])
set(wrong [[{ if (number < started) lose(index, entry, death, true); });]])
