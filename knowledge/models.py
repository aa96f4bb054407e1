"""Knowledge bases, their documents, and the passages that these are cut into (tenant schema)."""

from __future__ import annotations

from django.contrib.postgres.search import SearchVectorField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from core import clock
from core.ids import uuid7
from knowledge.fields import HalfVectorField
from llm.models import ProviderAccount

SLUG = r"^[a-z0-9](?:[a-z0-9_-]{0,58}[a-z0-9])?\Z"
# Vectors of these lengths have an index (knowledge/migrations/0001_initial.sql); others cannot be searched fast.
DIMENSIONS = (256, 512, 768, 1024, 1536, 2048, 3072)


class KnowledgeBase(models.Model):
    """Documents that are searched together. Make and change it with knowledge.bases.

    provider None: the hashing embedder (knowledge/hashing.py). model and dimension never change, for vectors of
    different models cannot be compared. reranker, rerank_model: the account and its model that put found passages in
    order, if any. neighbours: agents are shown what stands around a passage too. access: who finds anything in it;
    roles and people (ids of users and keys) are those of "restricted". Whoever may change knowledge finds all of it.
    chunk_size and chunk_overlap are tokens.
    """

    class Access(models.TextChoices):
        EVERYBODY = "everybody"
        RESTRICTED = "restricted"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[RegexValidator(SLUG, "Use 1 to 60 small letters, digits, and inner _ or -.")],
    )
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=1000, blank=True, default="")
    chunk_size = models.PositiveIntegerField(default=400, validators=[MinValueValidator(50), MaxValueValidator(2000)])
    chunk_overlap = models.PositiveIntegerField(default=60, validators=[MaxValueValidator(500)])
    vector_weight = models.FloatField(default=0.7, validators=[MinValueValidator(0), MaxValueValidator(1)])
    keyword_weight = models.FloatField(default=0.3, validators=[MinValueValidator(0), MaxValueValidator(1)])
    top_k = models.PositiveIntegerField(default=6, validators=[MinValueValidator(1), MaxValueValidator(50)])
    provider = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    model = models.CharField(max_length=120, default="hashing")
    dimension = models.PositiveIntegerField(default=256)
    reranker = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    rerank_model = models.CharField(max_length=120, blank=True, default="", db_default="")
    neighbours = models.BooleanField(default=False, db_default=False)
    access = models.CharField(max_length=10, choices=Access.choices, default=Access.EVERYBODY)
    roles = models.JSONField(default=list, blank=True)
    people = models.JSONField(default=list, blank=True)
    created_by = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.slug


class Document(models.Model):
    """One document of a base. Make and change it with knowledge.documents; knowledge.ingest works on it.

    key: the file in the tenant's storage; "" for a URL that was not fetched yet. version: counts replacements;
    live_version: the one that is found by searches, 0 for none yet. lease: of the turn that has it, until leased_until.
    user_id, key_id: who put it in, and whose limits pay for its embeddings. progress: 0 to 100.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        PARSING = "parsing"
        EMBEDDING = "embedding"
        READY = "ready"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Source(models.TextChoices):
        UPLOAD = "upload"
        TEXT = "text"
        URL = "url"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    base = models.ForeignKey(KnowledgeBase, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    source = models.CharField(max_length=6, choices=Source.choices)
    url = models.CharField(max_length=2000, blank=True, default="")
    kind = models.CharField(max_length=10, blank=True, default="")
    key = models.CharField(max_length=120, blank=True, default="")
    size = models.BigIntegerField(default=0)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    step = models.CharField(max_length=60, blank=True, default="")
    error = models.CharField(max_length=500, blank=True, default="")
    version = models.PositiveIntegerField(default=1)
    live_version = models.PositiveIntegerField(default=0)
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    chunk_count = models.PositiveIntegerField(default=0)
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(state="queued") | models.Q(state="parsing") | models.Q(state="embedding"),
                name="knowledge_document_waiting",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Chunk(models.Model):
    """A passage of one version of a document.

    tsv: its words (knowledge/words.py). embedding: null until it was made. digest: of its text without space and case,
    so that what says the same is found once.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    base = models.ForeignKey(KnowledgeBase, on_delete=models.CASCADE, related_name="+", db_index=False)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks", db_index=False)
    version = models.PositiveIntegerField()
    ordinal = models.PositiveIntegerField()
    page = models.PositiveIntegerField(null=True)
    heading = models.CharField(max_length=300, blank=True, default="")
    text = models.TextField()
    digest = models.BigIntegerField()
    tsv = SearchVectorField()
    dimension = models.PositiveSmallIntegerField()
    embedding = HalfVectorField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "version", "ordinal"], name="knowledge_chunk_once"),
        ]
        indexes = [
            models.Index(fields=["base"], name="knowledge_chunk_base"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id} {self.ordinal}"
