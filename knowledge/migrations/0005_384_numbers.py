from django.db import migrations

# Small local models have vectors of this length: MiniLM, and the small ones of BGE and E5.
SQL = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS knowledge_chunk_near_384 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(384)) public.halfvec_cosine_ops) WHERE dimension = 384;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("knowledge", "0004_find")]

    operations = [migrations.RunSQL(SQL, "DROP INDEX IF EXISTS knowledge_chunk_near_384;")]
