// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Histograms as bars of text.

use crate::netlink::flow::{Bucket, Flow};

/// Characters of the longest bar.
const BAR: u64 = 40;

/// A flow's histograms, each under its heading; nothing where it has none.
pub fn of(flow: &Flow) -> String {
    bars("RTT ms", &flow.rtt_histogram) + &bars("server ms", &flow.server_delay_histogram)
}

fn bars(heading: &str, buckets: &[Bucket]) -> String {
    let Some(most) = buckets.iter().map(|bucket| bucket.samples).max().filter(|most| *most > 0) else {
        return String::new();
    };
    let mut text = format!("\n{heading:>10} from  {:<12}  {:>10}\n", "to below", "samples");
    for bucket in buckets {
        let bar = (u64::from(bucket.samples) * BAR).div_ceil(u64::from(most)) as usize;
        let below = bucket.below.map_or_else(|| "-".to_owned(), milliseconds);
        let from = milliseconds(bucket.from);
        text.push_str(&format!("{from:>15}  {below:<12}  {:>10}  {}\n", bucket.samples, "#".repeat(bar)));
    }
    text
}

fn milliseconds(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_samples_are_many() {
        let buckets = [
            Bucket { from: 33_554_432, below: Some(50_331_648), samples: 80 },
            Bucket { from: 50_331_648, below: Some(67_108_864), samples: 1 },
            Bucket { from: 206_158_430_208, below: None, samples: 40 },
        ];
        let flow = Flow { rtt_histogram: buckets.to_vec(), ..Flow::default() };
        let expected = "
    RTT ms from  to below         samples
         33.554  50.332                80  ########################################
         50.332  67.109                 1  #
     206158.430  -                     40  ####################
";
        assert_eq!(of(&flow), expected);
        assert_eq!(of(&Flow::default()), "");
    }
}
