"""What every image of Dockerfile.train keeps where, whatever starts it."""

PROJECT_IN_IMAGE = "/home/brunoamaral/gregory-ai/django"
BASE_MODELS_IN_IMAGE = "/opt/base-models"
