"""The models as torch runs them, which the other formats are made of."""

import torch
import transformers

from .models import INPUTS


class TorchModel(torch.nn.Module):
    """A model of :mod:`models` from its folder, from its inputs to its one output.

    That is hidden states, logits, or of a model that predicts words the weights of SPLADE:
    the maximum over the tokens before the logarithm, which is the cheaper order.
    """

    def __init__(self, model, folder, **options):
        super().__init__()
        self.names = INPUTS[: model.inputs]
        self.of_words = model.kind.endswith("MaskedLM")
        kind = getattr(transformers, model.kind)
        self.model = kind.from_pretrained(folder, **options).eval()

    def forward(self, *inputs):
        named = dict(zip(self.names, inputs, strict=False))
        output = self.model(**named)
        if self.of_words:
            mask = named["attention_mask"].unsqueeze(-1)
            return torch.log1p(torch.relu((output.logits * mask).amax(1)))
        return output.logits if "logits" in output else output.last_hidden_state
