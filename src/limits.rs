//! All limits of the crate, with their relations asserted at compile time.

/// Ordinals per page of the index: 7 words of presence bits.
pub const PAGE_ORDINALS: u32 = 448;
/// Pages per block, the unit of verification.
pub const BLOCK_PAGES: u32 = 32;
/// Ordinals per block.
pub const BLOCK_ORDINALS: u32 = PAGE_ORDINALS * BLOCK_PAGES;
/// Pages per part, the unit of copying when recipients change. (With 32, a whole block, a thousand changes took 2.5
/// times as long.)
pub(crate) const PART_PAGES: u32 = 4;
/// Ordinals per part.
pub(crate) const PART_ORDINALS: u32 = PAGE_ORDINALS * PART_PAGES;
/// Parts per block.
pub(crate) const BLOCK_PARTS: u32 = BLOCK_PAGES / PART_PAGES;
/// Ids per group of the lookup kernel: enough that the data of the first has arrived when the last is prefetched. (With
/// 64, lookups take a third longer; 256 is not faster.)
pub(crate) const GROUP_IDS: usize = 128;

/// Maximum number of mailbox operators of a register. Real registers have four.
pub const OPERATORS_MAX: usize = 4096;
/// Maximum number of senders of a register. Mina meddelanden has about 240.
pub const SENDERS_MAX: usize = 65_535;
/// Maximum number of dispatchers of a register.
pub const DISPATCHERS_MAX: usize = 65_535;
/// Maximum number of recipients of a register: record numbers have 32 bits, and record 0 is reserved.
pub const RECIPIENTS_MAX: usize = u32::MAX as usize - 1;
/// Maximum sequence number of a register. Higher ones would not fit the signed 64-bit numbers of other programs, and
/// leave no room for the numbers after them.
pub const SEQUENCE_MAX: u64 = i64::MAX as u64;
/// States that a new FaR register file leaves unused within its record width. When changes bring more new combinations
/// of operator, type and pending than this, all records become wider.
pub const STATES_SPARE: usize = 32;
/// Maximum length in bytes of the contact data of a KRR recipient in a register file.
pub const CONTACT_BYTES_MAX: usize = 65_535;

/// Maximum size in bytes of the texts of one answer in a register's own contract: 8 KiB for each of [`CALL_IDS_MAX`] ids. A
/// row of FaR has some 700 bytes, a person with a certificate some 3000.
pub const ANSWER_BYTES_MAX: usize = CALL_IDS_MAX * (8 << 10);
/// Maximum size in bytes of a batch of changes in the log. A batch is applied, written and checked as a whole.
pub const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Maximum size in bytes of a register file that a replica downloads. 8 million recipients take some 100 MB.
pub const REPLICA_FILE_BYTES_MAX: u64 = 16 << 30;
/// Maximum size in bytes of one response or message with changes that a replica accepts.
pub const REPLICA_CHANGES_BYTES_MAX: u64 = 256 << 20;
/// Maximum number of changes of one response or message that a replica accepts.
pub const REPLICA_CHANGES_MAX: usize = 100_000;
/// Maximum by which a source's sequence number may exceed that of a replica.
pub const REPLICA_SEQUENCE_AHEAD_MAX: u64 = 1 << 32;
/// Maximum sequence number of the first register file of a replica, which has no number to compare it with.
pub const REPLICA_SEQUENCE_FIRST_MAX: u64 = 1 << 53;
/// Maximum by which a source's times may be ahead of the replica's clock, in seconds.
pub const REPLICA_TIME_AHEAD_SECONDS_MAX: i64 = 24 * 3600;
/// Least rate of a transfer to a replica, in bytes per second, after [`REPLICA_GRACE_SECONDS`].
pub const REPLICA_RATE_MIN: u64 = 16 << 10;
/// Time in seconds that a transfer to a replica may take in addition to that of the least rate.
pub const REPLICA_GRACE_SECONDS: u64 = 60;

/// Maximum length in bytes of a line or record of an extract, of changes, or of ids, without its line feed.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Maximum size in bytes of the pages of changes of one input, and of a line of changes that holds a page.
pub const PAGES_BYTES_MAX: usize = 64 << 20;
/// Maximum size in bytes of an input that is applied as one batch.
pub const BATCH_TEXT_BYTES_MAX: u64 = 1 << 30;
/// Size in bytes of the text of a batch of several at which the batch ends before it has all its lines.
pub const BATCH_TEXT_BYTES: u64 = 64 << 20;
/// Maximum number of lines of a batch.
pub const BATCH_LINES_MAX: usize = 1 << 24;
/// Maximum number of consecutive lines of changes without a legible sequence number.
pub const UNNUMBERED_LINES_MAX: usize = 1 << 20;
/// Bytes of an extract that are decoded at a time.
pub(crate) const DECODED_BYTES: usize = 16 << 20;

/// Maximum number of ids per call in the contracts of the registers.
pub const CALL_IDS_MAX: usize = 1000;
/// Maximum number of ids in a call to Kivra.
pub const KIVRA_CALL_IDS_MAX: usize = 500_000;
/// Maximum length of a body that Kivra takes, in bytes.
const KIVRA_BODY_BYTES_MAX: usize = 10_000_000;
// An id of an organisation takes 17 bytes of a body, with its quotation marks and a comma.
const _: () = assert!(16 + KIVRA_CALL_IDS_MAX * 17 < KIVRA_BODY_BYTES_MAX);
/// Maximum size in bytes of a request body that is processed on the thread that reads it, which takes some milliseconds
/// at most.
pub(crate) const INLINE_BODY_BYTES: usize = 1 << 18;

/// Bytes of a list per chunk of a worker.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Maximum length in bytes of a row. A quotation mark that would make a row longer is treated as a stray one.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Bytes after the beginning of a row that are needed to find its end: the longest quoted cell, its closing mark and
/// the line end.
pub(crate) const ROW_LOOKAHEAD_BYTES: usize = ROW_BYTES_MAX + 3;
/// Bytes at the beginning of a list from which delimiter, encoding, header and id column are detected.
pub const SAMPLE_BYTES: usize = 1 << 20;
/// Maximum number of rows of the sample.
pub const SAMPLE_ROWS: usize = 1000;
/// Rows in which the header is searched if no row has an identity.
pub const HEADER_ROWS: usize = 30;
/// Maximum length in bytes of a row that is treated as the footer of a report, such as a row of totals.
pub const FOOTER_BYTES: usize = 200;
/// Maximum number of columns in which the id column is searched.
pub const COLUMNS_MAX: usize = 1024;

const _: () = {
    assert!(BLOCK_ORDINALS <= u16::MAX as u32 + 1, "offsets in a block have 16 bits");
    assert!(BLOCK_PAGES.is_multiple_of(PART_PAGES));
    assert!(PAGE_ORDINALS == 7 * 64, "a page has 64 bytes: 7 words and 4 counts");
    assert!(PAGE_ORDINALS as usize >= GROUP_IDS);
    assert!(
        OPERATORS_MAX < u16::MAX as usize,
        "operator numbers have 16 bits, and states store them plus one"
    );
    assert!(SENDERS_MAX <= u16::MAX as usize, "sender numbers have 16 bits");
    assert!(REPLICA_SEQUENCE_FIRST_MAX < SEQUENCE_MAX - REPLICA_SEQUENCE_AHEAD_MAX);
    assert!(REPLICA_CHANGES_BYTES_MAX <= BATCH_BYTES_MAX, "what is accepted can be applied as one batch");
    assert!(LINE_BYTES_MAX == ROW_BYTES_MAX, "one limit for lists, extracts and changes");
    assert!(LINE_BYTES_MAX > CONTACT_BYTES_MAX);
    assert!(LINE_BYTES_MAX < PAGES_BYTES_MAX && PAGES_BYTES_MAX as u64 <= BATCH_TEXT_BYTES);
    assert!(ROW_BYTES_MAX <= CHUNK_BYTES, "a row never spans more than two chunks");
    assert!(SAMPLE_BYTES <= CHUNK_BYTES, "the sample is the first chunk");
};
