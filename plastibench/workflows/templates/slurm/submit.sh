#!/bin/bash
# Written by `plastibench slurm`: submit {{ name }} and, to start at its end, {{ "the merge of its homes" if per_task_home else "its table" }}.
set -eu
array=$(sbatch --parsable {{ folder }}/array.sbatch)
array=${array%%;*}  # a cluster's name may follow
finish=$(sbatch --parsable --dependency="afterany:$array" {{ folder }}/finish.sbatch)
echo "submitted $array ({{ num_tasks }} {{ "task" if num_tasks == 1 else "tasks" }}), and ${finish%%;*} to follow it"
