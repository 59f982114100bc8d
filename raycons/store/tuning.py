"""How RocksDB is set: small buffers, no log of its own, and no writer that is ever slowed down."""

from __future__ import annotations

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Env,
    Options,
)

from raycons.store.contract import Space

MIB = 1024 * 1024
BLOCK_CACHE_BYTES = 16 * MIB  # shared by all families; holds indexes and filters too
# Opening after a crash carries out anew what the buffers held; all are flushed when one is full.
WRITE_BUFFER_BYTES = 16 * MIB
WRITE_BUFFERS = 4  # with two, a slow flush would stop writers, and so the event loop
OPEN_FILES = 256


def family_options(space: Space, cache: Cache, *, create: bool) -> Options:
    """How one family is kept; those of META, the default family, also rule the whole database."""
    tables = BlockBasedOptions()
    tables.set_block_cache(cache)
    tables.set_cache_index_and_filter_blocks(True)
    # Index and filter in pieces: the cache is divided in shards of 512 KiB, and what is larger than
    # one is never kept. The filter of one table with half a million small records is; every look-up
    # read it anew, a hundred times slower than from the cache.
    tables.set_index_type(BlockBasedIndexType.two_level_index_search())
    tables.set_partition_filters(True)
    tables.set_pin_top_level_index_and_filter(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options = common_options(create=create)
    if space in (Space.CURRENT, Space.HISTORY):
        tables.set_bloom_filter(10, False)  # most new keys are looked up before they are written
        options.set_compression_type(DBCompressionType.lz4())
        # Swept generations and compacted history leave tombstones: rewrite tables full of them.
        options.add_compact_on_deletion_collector_factory(4096, 2048, 0.5)
    else:
        options.set_compression_type(DBCompressionType.none())
    options.set_block_based_table_factory(tables)
    if space is Space.META:
        _rule_database(options)
    return options


def common_options(*, create: bool) -> Options:
    """How any family is kept."""
    options = Options(raw_mode=True)
    options.create_if_missing(create)
    options.create_missing_column_families(create)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS)
    options.set_target_file_size_base(WRITE_BUFFER_BYTES)
    # Far from the usual 20 and 36: a writer that is slowed down is the event loop.
    options.set_level_zero_slowdown_writes_trigger(40)
    options.set_level_zero_stop_writes_trigger(80)
    return options


def _rule_database(options: Options) -> None:
    options.set_atomic_flush(True)
    options.set_wal_recovery_mode(DBRecoveryMode.absolute_consistency())  # nothing is in it
    options.set_paranoid_checks(True)
    options.set_max_open_files(OPEN_FILES)
    options.set_max_background_jobs(2)
    options.set_bytes_per_sync(MIB // 2)  # else a table's flush makes the log's sync wait behind it
    options.set_skip_stats_update_on_db_open(True)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(MIB)
    options.set_manifest_preallocation_size(64 * 1024)
    environment = Env()
    environment.lower_thread_pool_cpu_priority()  # compaction yields to the event loop
    options.set_env(environment)
