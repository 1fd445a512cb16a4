"""Training helpers: data parallelism for busy CPUs, weight averaging, the Muon optimiser."""

from __future__ import annotations

import copy
import os
import threading

import torch


class Team:
    """Data parallelism over Python threads that share one set of weights.

    On a CPU that other programs use too, two single-threaded workers that pull micro-batches
    lose far less time than one two-threaded run, whose threads wait for each other in every
    operation.  With one worker (a GPU) it is a plain loop.
    """

    def __init__(self, model: torch.nn.Module, workers: int):
        self.models = [model]
        for _ in range(workers - 1):
            twin = copy.deepcopy(model)
            for mine, shared in zip(twin.parameters(), model.parameters()):
                mine.data = shared.data
            self.models.append(twin)

    def step(self, batches, loss_fn) -> list:
        """Add up gradients over the batches: loss_fn(model, batch) -> (loss, statistics)."""
        todo = list(batches)
        count = len(todo)
        lock, statistics, errors = threading.Lock(), [], []

        def work(model):
            if len(self.models) > 1:
                torch.set_num_threads(1)
            try:
                while True:
                    with lock:
                        if not todo:
                            return
                        batch = todo.pop()
                    loss, info = loss_fn(model, batch)
                    (loss / count).backward()
                    with lock:
                        statistics.append(info)
            except Exception as error:  # handed to the caller below
                errors.append(error)

        if len(self.models) == 1:
            work(self.models[0])
        else:
            threads = [threading.Thread(target=work, args=(m,)) for m in self.models]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]
        self._collect()
        return statistics

    def _collect(self):
        """Move the gradients of the twins to the first model."""
        for twin in self.models[1:]:
            for target, source in zip(self.models[0].parameters(), twin.parameters()):
                if source.grad is not None:
                    if target.grad is None:
                        target.grad = source.grad
                    else:
                        target.grad.add_(source.grad)
                    source.grad = None


class EMA:
    """Exponential moving average of the weights (a shorter one during the first steps)."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.weights = [p.detach().clone().float() for p in model.parameters()]

    @torch.no_grad()
    def update(self, model: torch.nn.Module):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        now = [p.detach().float() for p in model.parameters()]
        torch._foreach_lerp_(self.weights, now, 1 - decay)

    def copy_to(self, model: torch.nn.Module):
        for parameter, weight in zip(model.parameters(), self.weights):
            parameter.data.copy_(weight)


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates (Newton-Schulz) for convolution and linear weights.

    The matrix products run in bfloat16, which halves their time where the CPU supports it.
    """

    def __init__(self, params, lr: float = 0.01, momentum: float = 0.95, iterations: int = 4):
        super().__init__(params, {'lr': lr, 'momentum': momentum, 'iterations': iterations})

    def _update(self, weight, group):
        momentum = self.state[weight]['m']
        momentum.lerp_(weight.grad, 1 - group['momentum'])
        update = weight.grad.lerp(momentum, group['momentum']).reshape(weight.shape[0], -1)
        rows, columns = update.shape
        x = (update.T if rows > columns else update).bfloat16()
        x = x / (x.norm() + 1e-7)
        for _ in range(group['iterations']):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        x = x.T if rows > columns else x
        scale = group['lr'] * max(1, rows / columns) ** 0.5
        weight.add_(x.reshape(weight.shape).to(weight), alpha=-scale)

    def step(self, threads: int = 1):
        """Update every weight that has a gradient, the expensive ones first, on some threads."""
        todo = [(w, g) for g in self.param_groups for w in g['params'] if w.grad is not None]
        for weight, _ in todo:
            if 'm' not in self.state[weight]:
                self.state[weight]['m'] = torch.zeros_like(weight)
        todo.sort(key=lambda t: min(t[0].shape[0], t[0][0].numel()) * t[0].numel())
        lock = threading.Lock()

        def work():
            if threads > 1:
                torch.set_num_threads(1)
            with torch.no_grad():
                while True:
                    with lock:
                        if not todo:
                            return
                        job = todo.pop()
                    self._update(*job)

        helpers = [threading.Thread(target=work) for _ in range(threads - 1)]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()


def save_atomic(state, path: str | os.PathLike):
    """Write a checkpoint so that an interruption never leaves half of one."""
    temporary = f'{path}.tmp'
    torch.save(state, temporary)
    os.replace(temporary, path)
