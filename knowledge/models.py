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
# Vectors of these lengths have an index (knowledge/migrations); others cannot be searched fast.
DIMENSIONS = (256, 384, 512, 768, 1024, 1536, 2048, 3072)


class KnowledgeBase(models.Model):
    """Documents that are searched together. Make and change it with knowledge.bases.

    provider None: the hashing embedder (knowledge/hashing.py). model and dimension change for all documents together
    (knowledge/generations.py), for vectors of different models cannot be compared; next_model and what is beside it:
    the one that they are being made for, "" for none. reranker, rerank_model: the
    account and its model that put found passages in order, if any. neighbours: agents are shown what stands around a
    passage too. access: who finds anything in it; roles and people (ids of users
    and keys) are those of "restricted". Whoever may change knowledge finds all of it. chunk_size and chunk_overlap are
    tokens. ocr: whether pictures are read: of a PDF pages that have fewer than ocr_chars characters, all, or none.
    """

    class Ocr(models.TextChoices):
        AUTO = "auto"
        ALWAYS = "always"
        NEVER = "never"

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
    ocr = models.CharField(max_length=6, choices=Ocr.choices, default=Ocr.AUTO, db_default=Ocr.AUTO)
    ocr_chars = models.PositiveIntegerField(default=30, db_default=30, validators=[MaxValueValidator(2000)])
    vector_weight = models.FloatField(default=0.7, validators=[MinValueValidator(0), MaxValueValidator(1)])
    keyword_weight = models.FloatField(default=0.3, validators=[MinValueValidator(0), MaxValueValidator(1)])
    top_k = models.PositiveIntegerField(default=6, validators=[MinValueValidator(1), MaxValueValidator(50)])
    provider = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    model = models.CharField(max_length=120, default="hashing")
    dimension = models.PositiveIntegerField(default=256)
    next_provider = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    next_model = models.CharField(max_length=120, blank=True, default="", db_default="")
    next_dimension = models.PositiveIntegerField(default=0, db_default=0)
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
    cut_version: the one whose passages are all there, with or without vectors. user_id, key_id: who put it in, and
    whose limits pay for its embeddings. progress: 0 to 100. said: step and error as they are translated
    (core.said.Said), {} where they are text only. checksum: SHA-256 of the file, "" where it was not taken.
    pages: of the file, or as many as its text would fill. failures, not_before: how often in a row something failed
    that passes, and until when it waits for that.
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
    said = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    version = models.PositiveIntegerField(default=1)
    live_version = models.PositiveIntegerField(default=0)
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    chunk_count = models.PositiveIntegerField(default=0)
    cut_version = models.PositiveIntegerField(default=0, db_default=0)
    checksum = models.CharField(max_length=64, blank=True, default="", db_default="")
    pages = models.PositiveIntegerField(default=0, db_default=0)
    failures = models.PositiveSmallIntegerField(default=0, db_default=0)
    not_before = models.DateTimeField(null=True)
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
            models.Index(fields=["base", "digest"], name="knowledge_chunk_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id} {self.ordinal}"


class PageText(models.Model):
    """A page of a document's version that is a picture, until the version is ready. text None: it was not read yet."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="+", db_index=False)
    version = models.PositiveIntegerField()
    page = models.PositiveIntegerField()
    text = models.TextField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "version", "page"], name="knowledge_page_once"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id} page {self.page}"


class Upload(models.Model):
    """A file that is arriving in pieces. Make and change it with knowledge.uploads.

    key: what is there of it, the first `offset` of its `size` bytes. sha256: of the whole file, in hex; "" where the
    sender could not say. replaces: the document that it is the next version of; None: it becomes a new one. document:
    what it has become; the file is that document's then, and the row stays for a while for a sender who missed it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No constraint: the release before this table deletes bases without knowing of it.
    base = models.ForeignKey(KnowledgeBase, on_delete=models.CASCADE, related_name="uploads", db_constraint=False)
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    key = models.CharField(max_length=120, blank=True, default="")
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    replaces = models.UUIDField(null=True)
    document = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
