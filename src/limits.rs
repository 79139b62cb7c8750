//! Every limit of the project, with the relations between them asserted by the compiler.

/// Ordinals that one page of the index covers: 7 words of presence bits.
pub const PAGE_ORDINALS: u32 = 448;
/// Pages of a block, the unit that is checked before it is believed.
pub const BLOCK_PAGES: u32 = 32;
/// Ordinals that one block covers.
pub const BLOCK_ORDINALS: u32 = PAGE_ORDINALS * BLOCK_PAGES;
/// Pages of a part, the unit that is copied when it changes. (With 32, all of a block, a thousand changes
/// took two and a half times as long.)
pub const PART_PAGES: u32 = 4;
/// Ordinals that one part covers.
pub const PART_ORDINALS: u32 = PAGE_ORDINALS * PART_PAGES;
/// Parts of a block.
pub const BLOCK_PARTS: u32 = BLOCK_PAGES / PART_PAGES;
/// Ids that the lookup kernel has in flight at a time: enough that the memory of the first has come when
/// the last has been asked for. (64 take a third longer; 256 gain nothing.)
pub const GROUP_IDS: usize = 128;

/// Most mailbox operators of a register. Real registers have four.
pub const OPERATORS_MAX: usize = 4096;
/// Most senders of a register. Mina meddelanden has about 240.
pub const SENDERS_MAX: usize = 65_535;
/// Most dispatchers of a register.
pub const DISPATCHERS_MAX: usize = 65_535;
/// Most recipients of a register: record numbers are 32 bits, and number 0 is nobody.
pub const RECIPIENTS_MAX: usize = u32::MAX as usize - 1;
/// States that a FaR register keeps free within the width of its records, for recipients that change: with
/// more than these new combinations of operator, type and pending all records become wider.
pub const STATES_SPARE: usize = 32;
/// Bytes that the contact data of one KRR person may take in a register file.
pub const CONTACT_BYTES_MAX: usize = 65_535;

/// Bytes of changes that one batch may take in the log: it is applied, written and checked as a whole.
pub const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Ids of one call in the registers' own contracts.
pub const CALL_IDS_MAX: usize = 1000;
/// Bytes of a body that is answered on the thread that has read it: some milliseconds at most.
pub const INLINE_BODY_BYTES: usize = 1 << 18;

/// Bytes of a list that one worker takes at a time.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Longest row of a list, in bytes. A quoted field that makes a row longer than this is taken for a
/// stray quotation mark.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Bytes after a row's beginning that must be at hand to tell where it ends: the longest quoted cell and
/// the line end behind its closing mark.
pub const ROW_LOOKAHEAD_BYTES: usize = ROW_BYTES_MAX + 3;
/// Bytes at the beginning of a list from which delimiter, encoding, header and id column are told.
pub const SAMPLE_BYTES: usize = 1 << 20;
/// Rows of that sample that are looked at.
pub const SAMPLE_ROWS: usize = 1000;
/// Rows among which the header is looked for, if no row has an identity.
pub const HEADER_ROWS: usize = 30;
/// Longest row that is taken for the end of a report, such as a row of totals, in bytes.
pub const FOOTER_BYTES: usize = 200;
/// Most columns that the id column is looked for in.
pub const COLUMNS_MAX: usize = 1024;

const _: () = {
    assert!(BLOCK_ORDINALS <= u16::MAX as u32 + 1, "offsets in a block are 16 bits");
    assert!(BLOCK_PAGES.is_multiple_of(PART_PAGES));
    assert!(PAGE_ORDINALS == 7 * 64, "a page is 64 bytes: 7 words and 4 counts");
    assert!(PAGE_ORDINALS as usize >= GROUP_IDS);
    assert!(OPERATORS_MAX < u16::MAX as usize, "operator numbers are 16 bits, 0 is none");
    assert!(SENDERS_MAX <= u16::MAX as usize, "sender numbers are 16 bits");
    assert!(ROW_BYTES_MAX <= CHUNK_BYTES, "a row never spans more than two chunks");
    assert!(SAMPLE_BYTES <= CHUNK_BYTES, "the sample is the first chunk");
};
