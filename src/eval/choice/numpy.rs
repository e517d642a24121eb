//! `numpy.random.default_rng`: PCG64 seeded through a `SeedSequence`, and its permutation.

/// The multiplier of the 128-bit generator.
const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// Words of a `SeedSequence`'s pool.
const POOL_LEN: usize = 4;

/// A generator in the state that numpy's would have.
#[derive(Debug, Clone)]
pub struct Numpy {
    state: u128,
    increment: u128,
    /// The high half of the last draw, if only its low half was used.
    spare: Option<u32>,
}

impl Numpy {
    /// The generator of `default_rng(seed)`.
    pub fn new(seed: u32) -> Self {
        let [state_high, state_low, stream_high, stream_low] = seed_words(seed);
        let increment = join(stream_high, stream_low) << 1 | 1;
        let mut generator = Self {
            state: 0,
            increment,
            spare: None,
        };
        generator.step();
        generator.state = generator.state.wrapping_add(join(state_high, state_low));
        generator.step();
        generator
    }

    /// `0..len` in random order: `permutation(len)`.
    ///
    /// # Panics
    /// If `len` is beyond 2^32, where numpy draws other words.
    pub fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            order.swap(last, self.up_to(last));
        }
        order
    }

    /// An index in `0..=last`: bits under the mask of `last` until they are no larger.
    fn up_to(&mut self, last: usize) -> usize {
        let Ok(last) = u32::try_from(last) else {
            panic!("cannot permute more than 2^32 entries");
        };
        let mask = u32::MAX >> last.leading_zeros();
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= last {
                return drawn as usize;
            }
        }
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (low, high) = halves(self.next_u64());
        self.spare = Some(high);
        low
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "halves and the top six bits of 128 are meant"
    )]
    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn step(&mut self) {
        let product = self.state.wrapping_mul(MULTIPLIER);
        self.state = product.wrapping_add(self.increment);
    }
}

/// A hash whose constant changes with every use.
struct Hash {
    constant: u32,
    factor: u32,
}

impl Hash {
    fn next(&mut self, value: u32) -> u32 {
        let value = value ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.factor);
        folded(value.wrapping_mul(self.constant))
    }
}

/// Four 64-bit words of `SeedSequence(seed)`.
fn seed_words(seed: u32) -> [u64; 4] {
    let mut hash = Hash {
        constant: 0x43b0_d7e5,
        factor: 0x931e_8875,
    };
    let mut pool = [seed, 0, 0, 0].map(|word| hash.next(word));
    for source in 0..POOL_LEN {
        for target in (0..POOL_LEN).filter(|target| *target != source) {
            pool[target] = mix(pool[target], hash.next(pool[source]));
        }
    }
    let mut hash = Hash {
        constant: 0x8b51_f9dd,
        factor: 0x58f3_8ded,
    };
    let mut next = |index: usize| u64::from(hash.next(pool[index % POOL_LEN]));
    [0, 2, 4, 6].map(|index| next(index) | next(index + 1) << 32)
}

fn mix(x: u32, y: u32) -> u32 {
    let left = x.wrapping_mul(0xca01_f9dd);
    folded(left.wrapping_sub(y.wrapping_mul(0x4973_f715)))
}

fn folded(value: u32) -> u32 {
    value ^ value >> 16
}

fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "halves are meant")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
