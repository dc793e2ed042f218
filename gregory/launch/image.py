"""Paths in every image of Dockerfile.train. All back ends use them."""

PROJECT_IN_IMAGE = "/home/brunoamaral/gregory-ai/django"
BASE_MODELS_IN_IMAGE = "/opt/base-models"
DATABASE_CERTIFICATE_IN_IMAGE = "/etc/gregory-database/ca.crt"
