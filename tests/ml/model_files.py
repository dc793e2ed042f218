"""The files that each trainer writes into a version folder."""

from gregory.ml.config import Algorithm

FILES: dict[Algorithm, set[str]] = {
    "pubmed_bert": {"bert_weights.h5", "model.json", "encoder"},
    "lgbm_tfidf": {"lgbm_classifier.txt", "tfidf_vectorizer.json", "lgbm_classifier.joblib", "tfidf_vectorizer.joblib"},
    "lstm": {"lstm_weights.h5", "tokenizer.json", "model.json"},
}
