"""The scorers against closed forms, and against another implementation where --oracle names one (a file metrics.py)."""
import importlib.util
import sys
import unittest

import numpy as np

import scorers

ORACLE = None


def world(seed, rows=3000, runs=6):
    random = np.random.default_rng(seed)
    labels = np.zeros(rows, int)
    for start in random.integers(50, rows - 100, runs):
        labels[start:start + random.integers(1, 60)] = 1
    return labels, np.round(random.normal(size=rows) + 1.5 * labels, 2)  # rounded: ties


class Scorers(unittest.TestCase):
    def test_a_perfect_score_fills_the_volume_at_no_buffer(self):
        labels, _ = world(1)
        self.assertGreater(scorers.volume_pr(labels, labels + 0.0, 0), 0.95)

    def test_random_scores_have_the_volume_of_the_share_of_ones(self):
        labels = np.zeros(20000, int)
        labels[5000:7000] = 1
        self.assertAlmostEqual(scorers.volume_pr(labels, np.random.default_rng(2).random(20000), 0), 0.1, delta=0.02)

    def test_alarms_are_joined_cut_and_matched(self):
        over = np.zeros(100, bool)
        over[[3, 5, 20]] = True
        over[40:90] = True
        self.assertEqual(scorers.episodes(over, 2, 30).tolist(), [[3, 5], [20, 20], [40, 69], [70, 89]])
        labels = np.zeros(100, int)
        labels[[22, 96]] = 1
        self.assertEqual(scorers.found(labels, over.astype(float), 0.5, 2, 2, 30), (1, 2, 3))

    def test_the_budget_is_kept_and_used(self):
        labels, score = world(3)
        hit, total, false, threshold = scorers.at_budget([(labels, score, (10, 5, 60))], 4)
        self.assertLessEqual(false, 4)
        self.assertEqual((hit, total, false), scorers.found(labels, score, threshold, 10, 5, 60))
        self.assertGreater(hit, 0)

    def test_alerts_at_the_start_of_every_window_earn_nearly_all(self):
        early, windows = np.zeros(2000), [(1000, 1100), (1500, 1600)]
        early[[1000, 1500]] = 1
        self.assertGreater(scorers.nab([(early, windows, 288)]), 95)


class AgainstTheOracle(unittest.TestCase):
    def setUp(self):
        if ORACLE is None:
            self.skipTest("no other implementation given (--oracle metrics.py)")
        spec = importlib.util.spec_from_file_location("oracle", ORACLE)
        self.oracle = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self.oracle  # what was compiled the last time asks for it by name
        try:
            spec.loader.exec_module(self.oracle)
        except ImportError as error:
            self.skipTest(f"the other implementation does not load: {error}")

    def test_volumes_agree(self):
        for seed in range(8):
            labels, score = world(seed)
            for buffer in (0, 1, 7, 40, 125):
                self.assertAlmostEqual(scorers.volume_pr(labels, score, buffer), self.oracle.vus(labels, score, buffer)[0], places=9)

    def test_periods_events_and_curves_agree(self):
        for seed in range(8):
            labels, score = world(seed)
            x = np.sin(np.arange(3000) / (3.0 + seed)) + 0.3 * score
            self.assertEqual(scorers.period(x), self.oracle.acf_period(x))
            for threshold in (0.5, 1.5, 2.5):
                self.assertEqual(scorers.found(labels, score, threshold, 10, 5, 60), self.oracle.event_eval(labels, score, threshold, 10, 5, 60)[:3])

    def test_what_an_alert_earns_agrees(self):
        windows = [(700, 800), (1500, 1650)]
        earned, window = scorers._nab_rows(3000, windows, "standard")
        hit, miss, _ = self.oracle.PROFILES["standard"]
        theirs, ids, _ = self.oracle.nab_points(3000, windows, hit, miss)
        np.testing.assert_allclose(earned, theirs)
        np.testing.assert_array_equal(window, ids)


if __name__ == "__main__":
    if "--oracle" in sys.argv:
        at = sys.argv.index("--oracle")
        ORACLE = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    unittest.main()
