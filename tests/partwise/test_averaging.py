import torch

from partwise.averaging import exponential_average


def test_the_average_is_the_written_recursion():
    callback = exponential_average(0.5)
    average = torch.nn.Linear(1, 1, bias=False)
    model = torch.optim.swa_utils.AveragedModel(average, avg_fn=callback._kwargs["avg_fn"])
    expected, values = None, [1.0, 4.0, -2.0, 7.0]
    for n, value in enumerate(values):
        with torch.no_grad():
            average.weight.fill_(value)
        model.update_parameters(average)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert model.module.weight.item() == expected or abs(model.module.weight.item() - expected) < 1e-6
