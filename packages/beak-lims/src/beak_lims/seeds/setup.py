"""What a clinical laboratory is set up with, as data of the project's own making: a beginning, to be changed at will.

Reference intervals are of adults and usual units; a laboratory verifies them for its methods and its people.
"""

from __future__ import annotations

# ISO 3166: country, its provinces with their codes, and the districts to begin with.
COUNTRY = ("Zimbabwe", "ZW")
PROVINCES = {
    ("Bulawayo", "ZW-BU"): ("Bulawayo",),
    ("Harare", "ZW-HA"): ("Harare", "Chitungwiza"),
    ("Manicaland", "ZW-MA"): ("Mutare", "Chipinge"),
    ("Mashonaland Central", "ZW-MC"): ("Bindura", "Mazowe"),
    ("Mashonaland East", "ZW-ME"): ("Marondera", "Murehwa"),
    ("Mashonaland West", "ZW-MW"): ("Makonde", "Kariba"),
    ("Masvingo", "ZW-MV"): ("Masvingo", "Chiredzi"),
    ("Matabeleland North", "ZW-MN"): ("Hwange", "Lupane"),
    ("Matabeleland South", "ZW-MS"): ("Gwanda", "Beitbridge"),
    ("Midlands", "ZW-MI"): ("Gweru", "Kwekwe"),
}

IDENTIFICATIONS = ("National identity number", "Passport", "Driver's licence", "Birth entry")

REJECTION_REASONS = (
    "Sample is haemolysed",
    "Sample is clotted",
    "Not enough sample",
    "Wrong container",
    "Label is missing or does not match the request",
    "Sample is too old",
)

SAMPLE_TYPES = (
    ("Whole blood", "WB"),
    ("Serum", "SER"),
    ("Plasma", "PLA"),
    ("Urine", "UR"),
    ("Stool", "ST"),
    ("Sputum", "SP"),
    ("Cerebrospinal fluid", "CSF"),
    ("Blood culture", "BC"),
    ("Pus or wound swab", "PUS"),
    ("Throat swab", "TS"),
    ("Nasopharyngeal swab", "NPS"),
    ("High vaginal swab", "HVS"),
    ("Tissue", "TIS"),
    ("Body fluid", "BF"),
)

INSTRUMENT_TYPES = (
    "Clinical chemistry analyser",
    "Haematology analyser",
    "Coagulation analyser",
    "Immunoassay analyser",
    "Blood gas analyser",
    "Electrolyte analyser",
    "Blood culture system",
    "Microbial identification system",
    "Microscope",
    "Centrifuge",
    "PCR thermal cycler",
)

METHODS = (
    ("Spectrophotometry", "SPECTRO"),
    ("Ion selective electrode", "ISE"),
    ("Automated cell count", "CELLCOUNT"),
    ("Microscopy", "MICRO"),
    ("Culture", "CULTURE"),
    ("Rapid diagnostic test", "RDT"),
    ("Immunoassay", "IMMUNO"),
    ("Polymerase chain reaction", "PCR"),
    ("Broth microdilution", "MIC"),
    ("Gradient strip", "ETEST"),
    ("Disk diffusion", "DISK"),
)

UNITS = ("mmol/L", "µmol/L", "g/L", "mg/L", "U/L", "g/dL", "%", "fL", "pg", "10^9/L", "10^12/L", "mm/h", "s", "mIU/L")

CODING_STANDARD = ("LOINC", "Logical Observation Identifiers Names and Codes")

# (name, the department's code)
CATEGORIES = (
    ("Kidney function", "CHEM"),
    ("Liver function", "CHEM"),
    ("Electrolytes", "CHEM"),
    ("Lipids", "CHEM"),
    ("Glucose metabolism", "CHEM"),
    ("Thyroid function", "CHEM"),
    ("Blood count", "HAEM"),
    ("Coagulation", "HAEM"),
    ("Blood group", "BT"),
    ("Bacteriology", "MICRO"),
    ("Susceptibility", "MICRO"),
    ("Blood parasites", "PARA"),
    ("Infection serology", "SERO"),
    ("Molecular detection", "MOL"),
)

BLOOD = ("WB",)
SERUM = ("SER", "PLA")

# (keyword, name, category, unit, digits, sample types, low, high)
FIGURES = (
    ("creatinine", "Creatinine", "Kidney function", "µmol/L", 0, SERUM, "45", "110"),
    ("urea", "Urea", "Kidney function", "mmol/L", 1, SERUM, "2.5", "7.8"),
    ("urate", "Urate", "Kidney function", "µmol/L", 0, SERUM, "140", "420"),
    ("sodium", "Sodium", "Electrolytes", "mmol/L", 0, SERUM, "135", "145"),
    ("potassium", "Potassium", "Electrolytes", "mmol/L", 1, SERUM, "3.5", "5.1"),
    ("chloride", "Chloride", "Electrolytes", "mmol/L", 0, SERUM, "98", "107"),
    ("calcium", "Calcium", "Electrolytes", "mmol/L", 2, SERUM, "2.20", "2.60"),
    ("phosphate", "Phosphate", "Electrolytes", "mmol/L", 2, SERUM, "0.80", "1.50"),
    ("alt", "Alanine aminotransferase", "Liver function", "U/L", 0, SERUM, "5", "45"),
    ("ast", "Aspartate aminotransferase", "Liver function", "U/L", 0, SERUM, "5", "40"),
    ("alp", "Alkaline phosphatase", "Liver function", "U/L", 0, SERUM, "30", "130"),
    ("ggt", "Gamma glutamyl transferase", "Liver function", "U/L", 0, SERUM, "5", "60"),
    ("bilirubin_total", "Bilirubin, total", "Liver function", "µmol/L", 0, SERUM, "0", "21"),
    ("bilirubin_direct", "Bilirubin, direct", "Liver function", "µmol/L", 0, SERUM, "0", "5"),
    ("albumin", "Albumin", "Liver function", "g/L", 0, SERUM, "35", "50"),
    ("protein_total", "Protein, total", "Liver function", "g/L", 0, SERUM, "60", "80"),
    ("cholesterol", "Cholesterol, total", "Lipids", "mmol/L", 1, SERUM, None, "5.2"),
    ("hdl", "HDL cholesterol", "Lipids", "mmol/L", 1, SERUM, "1.0", None),
    ("ldl", "LDL cholesterol", "Lipids", "mmol/L", 1, SERUM, None, "3.4"),
    ("triglycerides", "Triglycerides", "Lipids", "mmol/L", 1, SERUM, None, "1.7"),
    ("glucose", "Glucose", "Glucose metabolism", "mmol/L", 1, ("PLA", "SER"), "3.9", "6.1"),
    ("hba1c", "Haemoglobin A1c", "Glucose metabolism", "%", 1, BLOOD, "4.0", "6.0"),
    ("crp", "C-reactive protein", "Infection serology", "mg/L", 0, SERUM, None, "5"),
    ("tsh", "Thyrotropin", "Thyroid function", "mIU/L", 2, SERUM, "0.40", "4.00"),
    ("wbc", "White cell count", "Blood count", "10^9/L", 1, BLOOD, "4.0", "10.0"),
    ("rbc", "Red cell count", "Blood count", "10^12/L", 2, BLOOD, "3.80", "5.80"),
    ("haemoglobin", "Haemoglobin", "Blood count", "g/dL", 1, BLOOD, "12.0", "17.0"),
    ("haematocrit", "Haematocrit", "Blood count", "%", 0, BLOOD, "36", "50"),
    ("mcv", "Mean cell volume", "Blood count", "fL", 0, BLOOD, "80", "100"),
    ("mch", "Mean cell haemoglobin", "Blood count", "pg", 1, BLOOD, "27.0", "33.0"),
    ("platelets", "Platelet count", "Blood count", "10^9/L", 0, BLOOD, "150", "400"),
    ("esr", "Sedimentation rate", "Blood count", "mm/h", 0, BLOOD, None, "20"),
    ("pt", "Prothrombin time", "Coagulation", "s", 1, ("PLA",), "11.0", "14.0"),
    ("aptt", "Activated partial thromboplastin time", "Coagulation", "s", 0, ("PLA",), "25", "37"),
)

# (keyword, name, category, sample types, options, the usual one)
CHOICES = (
    ("malaria_rdt", "Malaria antigen", "Blood parasites", BLOOD, ("Negative", "Positive"), "Negative"),
    ("malaria_film", "Malaria film", "Blood parasites", BLOOD, ("Not seen", "Seen"), "Not seen"),
    ("hiv_screen", "HIV antibody screen", "Infection serology", SERUM, ("Non-reactive", "Reactive"), "Non-reactive"),
    ("hbsag", "Hepatitis B surface antigen", "Infection serology", SERUM, ("Negative", "Positive"), "Negative"),
    ("hcv_antibody", "Hepatitis C antibody", "Infection serology", SERUM, ("Negative", "Positive"), "Negative"),
    ("syphilis", "Syphilis serology", "Infection serology", SERUM, ("Non-reactive", "Reactive"), "Non-reactive"),
    ("blood_group", "Blood group", "Blood group", BLOOD, ("A", "B", "AB", "O"), None),
    ("rhesus", "Rhesus factor", "Blood group", BLOOD, ("Negative", "Positive"), None),
    ("mtb_pcr", "Mycobacterium tuberculosis PCR", "Molecular detection", ("SP",), ("Not detected", "Detected"), None),
)

# (keyword, name, category, sample types): results in words
TEXTS = (
    ("gram_stain", "Gram stain", "Bacteriology", ("UR", "SP", "CSF", "BC", "PUS", "HVS", "BF")),
    ("culture", "Culture", "Bacteriology", ("UR", "ST", "SP", "CSF", "BC", "PUS", "TS", "HVS", "TIS", "BF")),
)

# The two that carry susceptibility tests: the isolate, and one result for each antibiotic.
AST_ORGANISM = "beak_ast_abx_organism"
AST_ANTIBIOTIC = "beak_ast_abx_antibiotic"
AST_SAMPLES = ("UR", "ST", "SP", "CSF", "BC", "PUS", "TS", "HVS", "TIS", "BF")

# Of each laboratory: (keyword, name, department, analyses)
PROFILES = (
    ("kidney_function", "Kidney function tests", "CHEM", ("creatinine", "urea", "sodium", "potassium", "chloride")),
    ("liver_function", "Liver function tests", "CHEM", ("alt", "ast", "alp", "ggt", "bilirubin_total", "albumin")),
    ("lipids", "Lipid profile", "CHEM", ("cholesterol", "hdl", "ldl", "triglycerides")),
    ("electrolytes", "Electrolytes", "CHEM", ("sodium", "potassium", "chloride")),
    (
        "blood_count",
        "Full blood count",
        "HAEM",
        ("wbc", "rbc", "haemoglobin", "haematocrit", "mcv", "mch", "platelets"),
    ),
    ("clotting", "Clotting screen", "HAEM", ("pt", "aptt")),
    ("blood_group", "Blood group and Rhesus", "BT", ("blood_group", "rhesus")),
    ("hepatitis", "Hepatitis screen", "SERO", ("hbsag", "hcv_antibody")),
    ("bacteriology", "Culture and Gram stain", "MICRO", ("gram_stain", "culture")),
)

QC_LEVELS = ("Blank", "Negative", "Positive", "Low", "High")

# Facilities that send samples: (name, code)
CLIENTS = (("Walk-in", "WALKIN"), ("Outpatient department", "OPD"))
