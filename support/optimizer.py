"""RMSprop in which some weights take smaller steps than the others."""

from support.backend import keras


class PacedRMSprop(keras.optimizers.RMSprop):
    """Keras' RMSprop (Hinton 2012), with a pace for some of the weights.

    slow: the variables that take smaller steps. pace: by how much, a factor of the
    learning rate. options: what else Keras' RMSprop takes.
    On PyTorch a step takes a quarter longer: Keras has a faster one for its own class.
    """

    def __init__(self, learning_rate, slow, pace, **options):
        super().__init__(learning_rate, **options)
        # Not the variables: Keras would take them for some of the optimizer's own.
        self.slow, self.pace = {id(variable) for variable in slow}, pace

    def build(self, variables):
        super().build(variables)
        self.paces = [self.pace if id(v) in self.slow else 1.0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        # By number, as Keras does: on TensorFlow it passes other objects.
        pace = self.paces[self._get_variable_index(variable)]
        super().update_step(gradient, variable, pace * learning_rate)
