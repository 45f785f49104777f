"""ViLBERT fine-tuned on a task (Lu et al. 2019, arXiv 1908.02265, Sec. 3.2): all weights are trained on, with a small head.

    ViLBERTForVQA   a classifier over a fixed list of answers

Scaled down here: one right answer for each question, where the data set of the paper has those of ten people.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from vlmcourse.papers.vilbert import ViLBERT
from vlmcourse.parts.layers import check_batch_sizes, init_weights


class VQAHead(nn.Module):
    """Two linear layers on the product of the pooled states of image and text (Sec. 3.2, "Visual Question Answering").

    width    W of the pooled states. paper: 1,024
    answers  A. paper: 3,129
    """

    def __init__(self, width: int, answers: int, eps: float = 1e-12):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.LayerNorm(2 * width, eps),
            nn.Linear(2 * width, answers),
        )
        init_weights(self)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """image (B, W), text (B, W) -> logits (B, A)."""
        return self.layers(image * text)


def vqa_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each answer, summed over answers, mean over questions (Sec. 3.2 and the authors' code).

    logits (B, A); targets (B, A), 0 to 1: how right an answer is
    """
    return binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(logits)


class ViLBERTForVQA(nn.Module):
    """A copy of a ViLBERT with a classifier over `answers` answers.

    A batch is ViLBERT's, whose `ids` (B, T) are questions, with `answer` (B,), the number of the right answer.
    head  (pooled image, pooled text) -> logits (B, A); default: VQAHead
    """

    def __init__(self, vilbert: ViLBERT, answers: int, head: nn.Module | None = None):
        super().__init__()
        self.vilbert, self.answers = deepcopy(vilbert).requires_grad_(), answers
        self.head = head or VQAHead(vilbert.config.co_attention_width, answers, vilbert.config.eps)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits (B, A) over the answers."""
        return self.head(*self.vilbert.pool(*self.vilbert(batch)))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"vqa": scalar}. Raises ValueError unless there is one answer per question."""
        check_batch_sizes(questions=batch["ids"], answers=batch["answer"])
        return {"vqa": vqa_loss(self(batch), one_hot(batch["answer"], self.answers).float())}
