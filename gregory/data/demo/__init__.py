"""The demo articles: invented articles of two teams and three subjects, for demonstrations and tests."""

from gregory.data.demo.generate import EMPTY_ABSTRACTS, DemoArticle, generate

__all__ = ["EMPTY_ABSTRACTS", "DemoArticle", "generate"]
