"""Adam with its published definition for all layers, and with few arrays beside the weights."""

from typing import Any

from gregory.ml._keras.runtime import keras, tf


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam with dense gradients, computed by TensorFlow's own operation.

    On TensorFlow the gradient of an embedding is a list with one vector for each occurrence of a word. Keras 3.15 squares these
    vectors before it sums them. So the second moment of every repeated word is wrong, and a batch gives another update than its
    micro-batches: docs/decisions/0010-adam-and-embeddings.md.
    """

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Apply one update."""
        super().apply([tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads], trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
        """Update a variable and its moments in place. Keras makes several temporary arrays of their size."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        return tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        """Add each gradient as soon as it exists. Keras keeps all of them until the backward pass is complete, and adds into new arrays."""
        steps = self.gradient_accumulation_steps
        if not steps:
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        means = [self._accumulated_gradients[self._get_variable_index(variable)].value for variable in trainable_variables]
        for gradient, mean in zip(grads, means, strict=True):
            mean.assign_add(gradient / steps)

        def update() -> None:
            # TensorFlow would keep constant zeros for every variable in memory.
            zero = tf.cast(self._iterations.value < 0, tf.float32)
            for mean, variable in zip(means, trainable_variables, strict=True):
                updated = self.update_step(tf.convert_to_tensor(mean), variable, self.learning_rate)
                # Otherwise it would make the zeros of all variables first.
                with tf.control_dependencies([updated]):
                    mean.assign(tf.fill(mean.shape, zero))

        keras.ops.cond((self._iterations + 1) % steps == 0, update, lambda: None)


def _handle(variable: Any) -> Any:
    """The resource of a variable of Keras or TensorFlow."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
